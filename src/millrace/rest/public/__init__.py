"""Public API v2.0 (api.md A): the whole product for programs, at `/api/public/v2.0`. One module for each noun."""
