"""The files of a run beside its checkpoints: config.json and the tables, put back where they disappear."""

from fastsac.config.settings import Config
from fastsac.disk.files import write_file
from fastsac.report.displays import Display
from fastsac.report.sinks import Sinks
from fastsac.run.plan import Plan
from fastsac.run.run_dir import check_writable


class RunFiles:
    """Writes config.json and opens the tables of a run; the display tells what it did."""

    sinks: Sinks  # the tables, from `open` on

    def __init__(self, plan: Plan, display: Display) -> None:
        self._plan, self._display = plan, display
        self.folder = plan.run_dir.absolute()  # an environment may change the working directory

    def open(self) -> None:
        """Begin to write; the rows that a checkpoint counted on stay."""
        plan = self._plan
        self._display.info(f"writing to {plan.run_dir}")
        plan.place.start()
        if not plan.resume and (aside := plan.place.set_aside()):
            self._display.warn(f"an earlier start left no checkpoint: its tables are in {aside} now")
        keep = plan.resume.state.tables if plan.resume else {}
        self.sinks = Sinks(self.folder, self._write_config(), keep)
        for note in self.sinks.notes:
            self._display.warn(note)

    def close(self) -> None:
        """Write what waits, and close the tables, if they are open."""
        if hasattr(self, "sinks"):
            self.sinks.close()

    def restore(self) -> bool:
        """Put back what is gone of the run directory, or raise an OSError; returns whether there was anything."""
        place, gone = self._plan.place, []
        if not place.is_held:
            place.acquire_again(is_ours=self.sinks.are_there())
        check_writable(self.folder)
        if not (self.folder / "config.json").exists():
            self._write_config()
            gone = ["config.json"]
        if gone := [*gone, *self.sinks.restore()]:
            self._display.warn(f"{', '.join(gone)} of {self._plan.run_dir} had disappeared: written again")
        return bool(gone)

    def _write_config(self) -> Config:
        """Write config.json; returns its content."""
        config = self._plan.config.replace(resume=None, run_dir=str(self._plan.run_dir), wait_for_lock=0.0)
        write_file(self.folder / "config.json", config.to_json().encode())
        return config
