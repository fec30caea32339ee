"""External orchestration API v1 (api.md B), at `/api/v1`: what the published Airflow provider speaks."""
