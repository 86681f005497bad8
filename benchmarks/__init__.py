"""What is measured, against what, and how; `make bench` runs all of it."""
