    0.000000 ProcessStarted
    0.000000                         ProcessStarted
    0.000000                                                 ProcessStarted
    0.000000                                                                         ProcessStarted
    0.000000                                                                                                 ProcessStarted
    0.000000 == timers off
    0.000000 == run 50ms
    0.005000 commit 1
    0.005000                         commit 1
    0.005000                                                 commit 1
    0.005000                                                                         commit 1
    0.005000                                                                                                 commit 1
    0.050000 == elect 1
    0.050000 candidate of term 2
    0.052000 vote to 2 t2
    0.052000 vote to 3 t2
    0.052000 vote to 4 t2
    0.052000 vote to 5 t2
    0.056000                         vote-reply to 1 t2 yes
    0.056000                                                 vote-reply to 1 t2 yes
    0.056000                                                                         vote-reply to 1 t2 yes
    0.056000                                                                                                 vote-reply to 1 t2 yes
    0.058000 append to 2 t2 after 1 +1
    0.058000 append to 3 t2 after 1 +1
    0.058000 append to 4 t2 after 1 +1
    0.058000 append to 5 t2 after 1 +1
    0.058000 log 2...2 (term 2)
    0.058000 leader of term 2
    0.058000 == run 100ms
    0.060000                         log 2...2 (term 2)
    0.060000                                                 log 2...2 (term 2)
    0.060000                                                                         log 2...2 (term 2)
    0.060000                                                                                                 log 2...2 (term 2)
    0.063000 commit 2
    0.110000                         commit 2
    0.110000                                                 commit 2
    0.110000                                                                         commit 2
    0.110000                                                                                                 commit 2
    0.158000 == expect log all "1 2"
    0.158000 == expect commit on all = 2
    0.158000 == cut 1 -> 3,4,5
    0.158000 == NetworkCut
    0.158000 == async A set k "a"*70000
    0.158000 == run 30ms
    0.158220 append to 2 t2 after 2 +1
    0.158220 append to 3 t2 after 2 +1
    0.158220 append to 4 t2 after 2 +1
    0.158220 append to 5 t2 after 2 +1
    0.158220 log 3...3 (term 2)
    0.160220                         log 3...3 (term 2)
    0.188000 == expect log 1,2 "1 2 2"
    0.188000 == expect log 3-5 "1 2"
    0.188000 == not expect committed 3
    0.188000 == crash 1
    0.188000 PowerLost
    0.188000 == hold 5 -> 1-4 append
    0.188000 == elect 5
    0.188000                                                                                                 candidate of term 3
    0.190000                                                                                                 vote to 1 t3
    0.190000                                                                                                 vote to 2 t3
    0.190000                                                                                                 vote to 3 t3
    0.190000                                                                                                 vote to 4 t3
    0.194000                         vote-reply to 5 t3 no
    0.194000                                                 vote-reply to 5 t3 yes
    0.194000                                                                         vote-reply to 5 t3 yes
    0.196000                                                                                                 append to 1 t3 after 2 +1
    0.196000                                                                                                 append to 2 t3 after 2 +1
    0.196000                                                                                                 append to 3 t3 after 2 +1
    0.196000                                                                                                 append to 4 t3 after 2 +1
    0.196000                                                                                                 log 3...3 (term 3)
    0.196000                                                                                                 leader of term 3
    0.196000 == run 20ms
    0.216000 == expect term 3
    0.216000 == expect log 5 "1 2 3"
    0.216000 == cut 5 -> 1-4
    0.216000 == NetworkCut
    0.216000 == release 5 -> 1-4
    0.216000 == crash 5
    0.216000                                                                                                 PowerLost
    0.216000 == join 1 -> 3
    0.216000 == NetworkJoined
    0.216000 == restart 1
    0.216000 ProcessStarted
    0.216000 == run 50ms
    0.221000 follower of term 2
    0.221000 commit 2
    0.266000 == elect 1
    0.266000 candidate of term 3
    0.268000 vote to 2 t3
    0.268000 vote to 3 t3
    0.268000 vote to 4 t3
    0.268000 vote to 5 t3
    0.270000                                                 vote-reply to 1 t3 no
    0.272000                         vote-reply to 1 t3 yes
    0.566000 candidate of term 4
    0.568000 vote to 2 t4
    0.568000 vote to 3 t4
    0.568000 vote to 4 t4
    0.568000 vote to 5 t4
    0.572000                         vote-reply to 1 t4 yes
    0.572000                                                 vote-reply to 1 t4 yes
    0.574000 append to 2 t4 after 3 +1
    0.574000 append to 3 t4 after 3 +1
    0.574000 append to 4 t4 after 3 +1
    0.574000 append to 5 t4 after 3 +1
    0.574000 log 4...4 (term 4)
    0.574000 leader of term 4
    0.574000 == expect term 4
    0.574000 == run 5ms
    0.576000                         log 4...4 (term 4)
    0.578000 append to 3 t4 after 2 +1
    0.579000 == hold 3 -> 1 append-reply
    0.579000 == run 20ms
    0.580000                                                 log 3...3 (term 2)
    0.599000 == expect log 1,2 "1 2 2 4"
    0.599000 == expect log 3 "1 2 2"
    0.599000 == expect log 4 "1 2"
    0.599000 == hold 1 -> 3 append
    0.599000 == release 3 -> 1
    0.599000 == run 20ms
    0.599000 append to 3 t4 after 3 +1
    0.619000 == expect state 1 leader
    0.619000 == not expect committed 3
    0.619000 == cut 1 -> 3
    0.619000 == NetworkCut
    0.619000 == release 1 -> 3
    0.619000 == run 1ms
    0.620000 == crash 1
    0.620000 PowerLost
    0.620000 == heal
    0.620000 == NetworkHealed
    0.620000 == restart 5
    0.620000                                                                                                 ProcessStarted
    0.620000 == run 50ms
    0.625000                                                                                                 follower of term 3
    0.625000                                                                                                 commit 2
    0.670000 == elect 5
    0.670000                                                                                                 candidate of term 4
    0.672000                                                                                                 vote to 1 t4
    0.672000                                                                                                 vote to 2 t4
    0.672000                                                                                                 vote to 3 t4
    0.672000                                                                                                 vote to 4 t4
    0.674000                         vote-reply to 5 t4 no
    0.674000                                                 vote-reply to 5 t4 no
    0.676000                                                                         vote-reply to 5 t4 yes
    0.970000                                                                                                 candidate of term 5
    0.972000                                                                                                 vote to 1 t5
    0.972000                                                                                                 vote to 2 t5
    0.972000                                                                                                 vote to 3 t5
    0.972000                                                                                                 vote to 4 t5
    0.976000                         vote-reply to 5 t5 no
    0.976000                                                 vote-reply to 5 t5 yes
    0.976000                                                                         vote-reply to 5 t5 yes
    0.978000                                                                                                 append to 1 t5 after 3 +1
    0.978000                                                                                                 append to 2 t5 after 3 +1
    0.978000                                                                                                 append to 3 t5 after 3 +1
    0.978000                                                                                                 append to 4 t5 after 3 +1
    0.978000                                                                                                 log 4...4 (term 5)
    0.978000                                                                                                 leader of term 5
    0.978000 == expect term 5
    0.978000 == run 200ms
    0.982000                                                                                                 append to 2 t5 after 2 +2
    0.982000                                                                                                 append to 3 t5 after 2 +2
    0.982000                                                                                                 append to 4 t5 after 2 +2
    0.984000                         log 3...4 (term 5)
    0.984000                                                 log 3...4 (term 5)
    0.984000                                                                         log 3...4 (term 5)
    0.987000                                                                                                 commit 4
    1.034000                         commit 4
    1.034000                                                 commit 4
    1.034000                                                                         commit 4
    1.178000 == expect log 2-5 "1 2 3 5"
    1.178000 == expect commit on 5 = 4
    1.178000 == restart 1
    1.178000 ProcessStarted
    1.178000 == run 200ms
    1.183000 follower of term 4
    1.183000 commit 2
    1.189000                                                                                                 append to 1 t5 after 3 +1
    1.195000                                                                                                 append to 1 t5 after 2 +2
    1.197000 log 3...4 (term 5)
    1.197000 commit 4
    1.378000 == until expect agree within 1s
    1.378000 == expect log all "1 2 3 5"
    1.378000 == not expect answer A OK
    1.378000 == expect value k nil
