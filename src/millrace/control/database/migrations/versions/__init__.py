"""One file for each revision, numbered from 0001."""
