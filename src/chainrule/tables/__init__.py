"""Tables: files with columns of any kind, models that read them as they are, and reports. Needs the extra "tables"."""

from .model import TableModel
from .read import Table, read_table
from .train import train_table

__all__ = ["Table", "TableModel", "read_table", "train_table"]
