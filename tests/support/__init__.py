"""Builders that several tests share: scripted runs, real searches, the command line."""
