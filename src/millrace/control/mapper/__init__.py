"""The Schema Mapper: mappings, their versions, and what people do to them."""
