"""The binary log of MySQL and MariaDB: what is sent, how rows are written in it, and how a pipeline follows it."""
