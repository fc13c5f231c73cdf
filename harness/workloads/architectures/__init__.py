"""The original table's models at their published sizes: named presets, builders, parameter counts, memory.

`presets` is data; `building` makes a model with random weights; `elmo` is ELMo on torch; `counting` counts without
memory and refuses what does not fit. Nothing here imports torch before a model is asked for.
"""
