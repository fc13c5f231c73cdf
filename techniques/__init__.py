"""One file a technique; the folder is the phase. Nothing here is imported until it is used."""
