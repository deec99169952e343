"""What must hold after the process dies in the middle of anything (design/trust.md, T5 and T6)."""
