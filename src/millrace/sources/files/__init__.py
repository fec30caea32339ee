"""Files in a folder, a bucket, or at an SFTP server."""
