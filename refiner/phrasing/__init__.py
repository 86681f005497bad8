"""What the phrasebook works with: its rules, a little grammar, sentences and their clauses."""
