"""Screening: any film in, a decision out."""
