"""What file systems and buckets share: where files lie, how they are named, and the formats in them."""
