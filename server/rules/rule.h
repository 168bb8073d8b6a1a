/* rule.h - tags that can be watched: RULE("[AppendEntries 3, §5.3]") stands where that rule acts.
 *
 * It compiles to nothing. Only in the variant that writes tables of what the running code does
 * (`make table`) does it tell rule_witness, which the table's program defines. */
#ifndef MAILRAFT_RULES_RULE_H
#define MAILRAFT_RULES_RULE_H

#ifdef RULE_WITNESS
void rule_witness(const char *tag);
#define RULE(tag) rule_witness(tag)
#else
#define RULE(tag) ((void)0)
#endif

#endif
