"""The Triton behind the frontend: its process, its connection, its live sessions."""
