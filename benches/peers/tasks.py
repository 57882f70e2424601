"""The function that Celery's and Huey's workers run: it gives back what it is given. REDIS_PORT, HUEY_FILE and HUEY_FSYNC say
where they keep their work."""

import os

if "REDIS_PORT" in os.environ:
    from celery import Celery

    place = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/"
    app = Celery("tasks", broker=place + "0", backend=place + "1")
    app.conf.update(worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)

    @app.task
    def same(value):
        return value


if "HUEY_FILE" in os.environ:
    from huey import SqliteHuey

    huey = SqliteHuey(filename=os.environ["HUEY_FILE"], fsync=os.environ["HUEY_FSYNC"] == "1")

    @huey.task()
    def kept(value):
        return value
