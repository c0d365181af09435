"""What runs jobs: Celery workers that supervise children which compute."""
