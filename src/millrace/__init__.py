"""Millrace: pipelines from SaaS tools, databases and files into your warehouse, exactly once."""
