"""Checkpoints as bytes on disk: reading, writing, and the thread that writes.  Knows no learner."""

from fastsac.checkpoint.reader import FORMAT as FORMAT
from fastsac.checkpoint.reader import DamagedError as DamagedError
from fastsac.checkpoint.reader import Found as Found
from fastsac.checkpoint.reader import check_files as check_files
from fastsac.checkpoint.reader import checkpoint_dirs as checkpoint_dirs
from fastsac.checkpoint.reader import find as find
from fastsac.checkpoint.reader import load as load
from fastsac.checkpoint.reader import load_meta as load_meta
from fastsac.checkpoint.reader import meta_sha256 as meta_sha256
from fastsac.checkpoint.reader import read as read
from fastsac.checkpoint.reader import read_meta as read_meta
from fastsac.checkpoint.reader import read_rows as read_rows
from fastsac.checkpoint.reader import read_state as read_state
from fastsac.checkpoint.reader import replay_dir as replay_dir
from fastsac.checkpoint.reader import serial as serial
from fastsac.checkpoint.reader import sha256 as sha256
