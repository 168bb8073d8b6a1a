/* handshake.c - what peers/handshake.c makes of two servers' clusters, and of what they show. */
#include "server/rules/trust.h"
#include "test/sim/inside.h"

void network_identify(struct transport *transport, const struct identity *own,
                      const struct configuration *configuration)
{
    struct sim_server *server = CONTAINER_OF(transport, struct sim_server, transport);
    bool anew = server->server != NULL && own->readmitted != server->shown.readmitted;
    server->shown = *own;
    server->joined = server->joined || (!own->blank && !server->stray);
    server->shown_configuration = *configuration;
    if (anew)
        network_connect_anew(server);
}

bool network_is_kin(struct sim_server *server, const struct sim_server *peer)
{
    struct kin kin;
    kin_take(&kin, &server->shown_configuration);
    enum kinship kinship = kinship_judge(&server->shown, &kin, peer->id, &peer->shown);
    if (kinship == KIN_WE_JOIN) {
        struct process *before;
        struct mail *mail = sim_mail_begin(server, MAIL_JOIN, &before);
        mail->as.joining = peer->shown;
        (void)sim_mail_post(server, mail, peer->id, before);
    }
    return kinship == KIN;
}
