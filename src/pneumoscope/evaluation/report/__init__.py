"""The report: what the scores say, as one document in HTML, Markdown and JSON."""
