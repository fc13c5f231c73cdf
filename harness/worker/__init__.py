"""The worker: one fresh process for one fork of one case, told step by step what to do.

`python -m harness.worker` reads commands from standard input and answers on what was its standard output. `fork` holds
what every case needs and the only place that touches a meter; `inferring` and `training` do the two kinds of work.
"""
