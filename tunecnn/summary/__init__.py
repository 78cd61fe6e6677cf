"""Summaries of runs as Markdown, HTML, JSON and pictures."""
