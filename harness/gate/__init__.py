"""Did this change make it worse? Base and head, interleaved on this machine, with a stated rate of false alarms."""
