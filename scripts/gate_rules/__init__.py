"""The rules of `scripts/gates.py`: each takes what it reads and gives findings; none knows the table of excuses."""
