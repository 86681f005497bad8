"""What the politeness engine is made of; nothing in here imports main or utils."""
