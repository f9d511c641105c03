"""Evaluation: statistics, tables and figures from scores alone; imports no torch."""
