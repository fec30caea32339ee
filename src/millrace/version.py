"""Which Millrace this is; a test holds it equal to what is installed, which takes milliseconds to find out."""

VERSION = "0.1.0"
