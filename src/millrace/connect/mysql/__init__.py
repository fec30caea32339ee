"""How one talks to MySQL and MariaDB: settings, the connection, what it says when it fails."""
