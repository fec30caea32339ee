"""Tables of SQL databases read by queries: the parts that are the same for every database.

A database brings a `database.Database`; `reader.Reader` reads its relations in every query mode.
"""
