"""Meters that are opened by name only, each through the entry-point group `joulebench.meters`.

A plug-in is a module with one function, `open_meter(argument, device)`; `loading` finds and loads them,
ours and those of other distributions alike. `counted` is what a plug-in over running counters needs,
`conformance` says what a meter lacks. Third parties are imported inside `open_meter`, never here.
"""
