"""The echo backend: an engine without a model, for tests of everything around engines. It takes anything."""

from app.backends.backend import Backend, Shapes
from app.backends.remedies import server_remedies

BACKEND = Backend(
    name="echo",
    model_names=("echo",),
    allowed=lambda settings: settings.echo_engine,
    model_files=False,
    shapes=Shapes.UNBOUNDED,
    remedy=server_remedies({}),
)
