"""Tables, charts, sentences and pages made from records."""
