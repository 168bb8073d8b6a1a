    0.000000 ProcessStarted
    0.000000                         ProcessStarted
    0.000000                                                 ProcessStarted
    0.000000                                                                         ProcessStarted
    0.000000                                                                                                 ProcessStarted
    0.000000                                                                                                                         ProcessStarted
    0.000000                                                                                                                                                 ProcessStarted
    0.000000 == timers off
    0.000000 == run 50ms
    0.003573 commit 1
    0.004406                                                 commit 1
    0.004619                                                                                                                         commit 1
    0.005312                                                                                                                                                 commit 1
    0.005590                         commit 1
    0.005896                                                                                                 commit 1
    0.006395                                                                         commit 1
    0.050000 == elect 1
    0.050000 candidate of term 8
    0.053327 vote to 2 t8
    0.053327 vote to 3 t8
    0.053327 vote to 4 t8
    0.053327 vote to 5 t8
    0.053327 vote to 6 t8
    0.053327 vote to 7 t8
    0.057802                                                                                                                                                 vote-reply to 1 t8 yes
    0.058775                                                 vote-reply to 1 t8 yes
    0.059225                         vote-reply to 1 t8 yes
    0.059285                                                                                                                         vote-reply to 1 t8 yes
    0.059982                                                                         vote-reply to 1 t8 no
    0.061308                                                                                                 vote-reply to 1 t8 no
    0.062636 append to 2 t8 after 10 +1
    0.062636 append to 3 t8 after 10 +1
    0.062636 append to 4 t8 after 10 +1
    0.062636 append to 5 t8 after 10 +1
    0.062636 append to 6 t8 after 10 +1
    0.062636 append to 7 t8 after 10 +1
    0.062636 log 11...11 (term 8)
    0.062636 leader of term 8
    0.062636 == expect term 8
    0.062636 == run 300ms
    0.065089                                                                         log 11...11 (term 8)
    0.066720                                                                                                 log 11...11 (term 8)
    0.066775 append to 7 t8 after 3 +8
    0.067998 append to 3 t8 after 4 +7
    0.068182 append to 6 t8 after 7 +4
    0.068739 append to 2 t8 after 9 +2
    0.069550                                                                                                                                                 log 4...11 (term 8)
    0.071303 commit 11
    0.072788                                                 log 5...11 (term 8)
    0.073178                         log 10...11 (term 8)
    0.073774 append to 6 t8 after 5 +6
    0.077496                                                                                                                         log 6...11 (term 8)
    0.077496                                                                                                                         commit 11
    0.114399                                                                                                 commit 11
    0.117265                                                                         commit 11
    0.119684                                                                                                                                                 commit 11
    0.120061                         commit 11
    0.122848                                                 commit 11
    0.362636 == expect log all "1 1 1 4 4 5 5 6 6 6 8"
    0.362636 == expect commit on all = 11
    0.362636 == expect agree
