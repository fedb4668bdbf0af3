"""The API in OpenAPI's words, made of what the routes validate with, what they answer and how they fail."""
