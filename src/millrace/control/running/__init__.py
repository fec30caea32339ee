"""Runs: who does them, with what, and how they are asked for, followed and ended."""
