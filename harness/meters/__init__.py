"""One file a meter; `open_meters` puts those of this host behind one begin/end pair."""
