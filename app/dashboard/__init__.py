"""The dashboard: pages for people, made of the same services as the API."""
