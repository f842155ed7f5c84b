"""The base of everything that records hold; torch-free."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Data that never changes once it is made: no unknown field, no infinity, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
