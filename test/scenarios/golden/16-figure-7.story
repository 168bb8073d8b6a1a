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
    0.051957 vote to 2 t8
    0.051957 vote to 3 t8
    0.051957 vote to 4 t8
    0.051957 vote to 5 t8
    0.051957 vote to 6 t8
    0.051957 vote to 7 t8
    0.056984                                                                                                                                                 vote-reply to 1 t8 yes
    0.056989                         vote-reply to 1 t8 yes
    0.057492                                                 vote-reply to 1 t8 yes
    0.058266                                                                                                                         vote-reply to 1 t8 yes
    0.058464                                                                                                 vote-reply to 1 t8 no
    0.058470                                                                         vote-reply to 1 t8 no
    0.060903 append to 2 t8 after 10 +1
    0.060903 append to 3 t8 after 10 +1
    0.060903 append to 4 t8 after 10 +1
    0.060903 append to 5 t8 after 10 +1
    0.060903 append to 6 t8 after 10 +1
    0.060903 append to 7 t8 after 10 +1
    0.060903 log 11...11 (term 8)
    0.060903 leader of term 8
    0.060903 == expect term 8
    0.060903 == run 300ms
    0.063356                                                                         log 11...11 (term 8)
    0.064987                                                                                                 log 11...11 (term 8)
    0.065042 append to 7 t8 after 3 +8
    0.066264 append to 3 t8 after 4 +7
    0.066449 append to 6 t8 after 7 +4
    0.067006 append to 2 t8 after 9 +2
    0.069074                                                                                                                                                 log 4...11 (term 8)
    0.069273 append to 6 t8 after 5 +6
    0.071055                                                 log 5...11 (term 8)
    0.071445                         log 10...11 (term 8)
    0.071561                                                                                                                         log 6...11 (term 8)
    0.073537 commit 11
    0.112665                                                                                                 commit 11
    0.115532                                                                         commit 11
    0.117951                                                                                                                                                 commit 11
    0.118327                         commit 11
    0.121115                                                 commit 11
    0.122217                                                                                                                         commit 11
    0.360903 == expect log all "1 1 1 4 4 5 5 6 6 6 8"
    0.360903 == expect commit on all = 11
    0.360903 == expect agree
