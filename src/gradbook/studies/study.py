"""Study: arms × trials on tasks and models. It runs, stops and goes on, tells what failed, and gives its tables."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import ValidationError

from gradbook import background, displays
from gradbook.errors import StudyError
from gradbook.files import Folder
from gradbook.loop import Method
from gradbook.loop.stages import together
from gradbook.models import Model
from gradbook.models.spec import ModelSpec
from gradbook.records import Role
from gradbook.stats import Correction, Hypothesis
from gradbook.studies import planning, questions, store
from gradbook.studies import verdicts as judging
from gradbook.studies.arms import Arm
from gradbook.studies.bars import Bars, Live, watch
from gradbook.studies.design import NAME, Design, Place, named, roles_of
from gradbook.studies.inspect_logs import inspect_logs
from gradbook.studies.questions import Registration
from gradbook.studies.stated import read_file
from gradbook.studies.trial import Job, Result, Trial, is_free, restore, run_trial
from gradbook.tasks import Task
from gradbook.tell.words import count

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from gradbook.page import charts

Figure = Literal["arms", "training", "candidates", "p"]
_BREAKS = 3  # executors that may break one after the other without a trial done between
Start = Callable[[Place], Awaitable[Result]]


class Study:
    """Trials of several methods, on one or several tasks and models: made where its folder does not exist, opened where it does.

        study = gb.Study("studies/mine", tasks=task, models=model, arms=gb.studies.grid(labels=["correct", "wrong"]), trials=5, steps=10)
        print(study.plan())
        study.run()

    Args:
        path: the folder. It holds `study.toml` and `examples.jsonl` (the design), `results.jsonl` (a line a trial that is done or failed)
            and `trials/ARM-…/TRIAL/`, each an ordinary case, for `gb.Recording` and the workbench.
        tasks: a task, several, or a mapping of names to them.
        models: a `Model` or `ModelSpec`, several, or a mapping of names to them, or to mappings of roles ("task", "critic",
            "optimizer") to them.
        arms: names and methods; or `gb.studies.Arm`, for an arm with trials or a length of its own. See `gb.studies.grid`.
        trials: how many an arm.
        steps, epochs, calls: how long a trial is, one of them; see `gb.studies.Arm`.
        seed: what the seed of every trial derives from. The same trial number has the same seed in all arms, so that they share batches
            and the calls that they make alike.
        hypotheses: what is to be decided (`gradbook.stats.Hypothesis`, of arms by name); by default the properties of a gradient that the
            arms can decide, as `gb.studies.standard` finds them.
        margin: of those, the difference in accuracy below which arms count as equivalent, 0.05 unless said otherwise.
        alpha, correction: how often a verdict may be wrong in a family, and the correction of p within one, "holm" or "bonferroni".
        looks: whether you will look after every trial and stop at verdicts; alpha is then kept over all looks together.

    Hypotheses, margins, families and trials are written into the folder before the first call; what is changed after it is told.

    For a study that exists everything may be left out; what is given may add tasks, models, arms and trials, and change nothing. A task
    with a parser or scorer of its own has to be given again.

    Raises:
        StudyError: something is missing, is given twice, or is another than the study has.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        tasks: Task | Collection[Task] | Mapping[str, Task] | None = None,
        models: Any = None,
        arms: Mapping[str, Method | Arm] | None = None,
        trials: int | None = None,
        steps: int | None = None,
        epochs: int | None = None,
        calls: int | None = None,
        seed: int | None = None,
        hypotheses: Sequence[Hypothesis] | None = None,
        margin: float = questions.MARGIN,
        alpha: float | None = None,
        correction: Correction | None = None,
        looks: bool | None = None,
    ) -> None:
        self._folder = Folder(path)
        given_tasks: dict[str, Task] = {} if tasks is None else named(tasks, Task)
        given_models = {} if models is None else {name: roles_of(each) for name, each in named(models, Model, ModelSpec).items()}
        self._models: dict[str, dict[Role, Any]] = dict(given_models)
        old = Design.read(self._folder, given_tasks) if self._folder.has(NAME) else None
        if arms is None and old is not None:
            arms = {name: arm.model_copy(update={"trials": max(trials or 0, arm.trials or 0)}) for name, arm in old.arms.items()}
        common = {"trials": trials, "steps": steps, "epochs": epochs, "calls": calls}
        new = Design(
            tasks=given_tasks or (old.tasks if old else {}),
            models={name: {role: _spec(model) for role, model in roles.items()} for name, roles in given_models.items()}
            or (old.models if old else {}),
            arms={name: (arm if isinstance(arm, Arm) else Arm(method=arm)).filled(name, **common) for name, arm in (arms or {}).items()},
            seed=seed if seed is not None else old.seed if old else 0,
        )
        self.store = store.Store(self._folder)
        grown = old.grown(new, self.path) if old else new
        said = {"alpha": alpha, "correction": correction, "looks": looks}
        self.design = grown.register(self._said(grown, hypotheses, margin, said), self._begun)
        if self.design != old:
            self.design.write(self._folder)

    @classmethod
    def from_toml(cls, file: str | Path) -> "Study":
        """The study that a TOML file states; see `gb.studies.read_file` for its form."""
        return cls(**read_file(file))

    @property
    def path(self) -> Path:
        """The folder, in full."""
        return self._folder.path

    @property
    def registered(self) -> Registration:
        """What is to be decided, as it stands now; see `changes`."""
        return self.design.registered[-1]

    @property
    def _begun(self) -> bool:
        """Whether calls have been made."""
        return any((self.path / name).exists() for name in ("trials", planning.FOLDER, store.NAME))

    @staticmethod
    def _said(design: Design, hypotheses: Sequence[Hypothesis] | None, margin: float, said: dict[str, Any]) -> Registration:
        """What is stated with what was registered before; where arms came in, with the properties that they can decide."""
        before = design.registered[-1] if design.registered else Registration()
        trials = {name: arm.trials or 0 for name, arm in design.arms.items()}
        if hypotheses is None:
            new = [h for task in design.tasks.values() for h in questions.standard(design.arms, task, margin)]
            known = set(before.trials)
            hypotheses = [*before.hypotheses, *(h for h in dict.fromkeys(new) if not set(map(questions.arm_of, h.arms)) <= known)]
        given = {name: value for name, value in said.items() if value is not None}
        try:
            return Registration(**{**before.model_dump(exclude={"time"}), **given, "trials": trials, "hypotheses": tuple(hypotheses)})
        except ValidationError as error:
            first = error.errors()[0]
            raise StudyError(
                f"a study cannot have {'.'.join(map(str, first['loc']))} = {first['input']!r:.60}: {first['msg'].lower()}"
            ) from None

    def __repr__(self) -> str:
        results = [result.status for result in self.store.results().values()]
        sizes = ", ".join(count(len(getattr(self.design, f"{what}s")), what) for what in ("task", "model", "arm"))
        done = f"{results.count('done')} of {len(self.design.places())} trials done, {results.count('failed')} failed"
        return f"Study({self.path.name!r}: {sizes}; {done})"

    # --- running -------------------------------------------------------------------------------------------------------

    async def arun(
        self,
        *,
        executor: Executor | Callable[[], Executor] | None = None,
        concurrency: int | None = None,
        retry: bool = True,
        arms: Collection[str] | None = None,
        trials: int | None = None,
        share: bool = True,
    ) -> pd.DataFrame:
        """Run every trial that is not done, and give the table of `trials()`.

        A trial that is done is never run again, one that was interrupted goes on from its last finished stage, and one that fails
        stops no other. Press stop, or kill the process, at any time, and run again.

        Args:
            executor: where trials run: None for this process; or an Executor, such as a ProcessPoolExecutor or that of a Dask client
                (`client.get_executor()`), whose workers see the study's folder, have keys in their environment and models of their own.
                A function that makes an executor lets the study go on where a killed worker has broken a pool.
            concurrency: in this process, how many trials run at the same time; by default half the requests that the model takes at once.
            retry: run those that failed before once more.
            arms, trials: only these arms, and so many trials of each.
            share: in an executor, run the arms of a trial number one after the other, so that calls which they make alike are paid once;
                without it all may run at once, and some may be paid twice.

        Raises:
            BudgetExceeded: the budget of a model is used up.
            StudyError: the study is being run elsewhere, its executor broke, or a budget was to be shared with other processes.
        """
        if unknown := set(arms or ()) - self.design.arms.keys():
            raise StudyError(f"{self.path} has no arm {min(unknown)!r}; there are {', '.join(self.design.arms)}")
        if executor is not None and any(getattr(model, "budget", None) for roles in self._models.values() for model in roles.values()):
            raise StudyError("a budget cannot be shared with the workers of an executor: connect without it, or run in this process")

        def todo() -> list[Place]:
            found = self.store.results()
            left = {"failed"} if retry else set()
            return [
                place
                for place in self.design.places()
                if (arms is None or place.arm in arms) and (trials is None or place.trial < trials)
                if (known := found.get(place)) is None or known.status in left
            ]

        for _ in range(20):  # a run that was stopped just now is still putting its things away
            if not is_free(self._folder, store.NAME):
                await asyncio.sleep(0.1)
        with self.store.writing(), watch(self, todo()) as bars:
            await asyncio.to_thread(self._restore, todo())
            here = self._all([[place] for place in todo()], self._starter(concurrency, bars), bars) if executor is None else None
            await background.here(here or self._on(executor, todo, share, bars))
        return self.trials()

    def _restore(self, places: list[Place]) -> None:
        for place in places:
            restore(self.path / self.design.folder(place), self.design.models[place.model])

    def run(self, **options: Any) -> pd.DataFrame:
        """Run every trial that is not done, wait for it, and give the table of `trials()`; `options` are those of `arun`."""
        return background.run(self.arun(**options))

    async def _all(self, lanes: list[list[Place]], start: Start, bars: Bars | Live) -> None:
        """Run all trials, those of a lane one after the other, and write down each as it ends."""

        async def one_after_the_other(lane: list[Place]) -> None:
            for place in lane:
                result = await start(place)
                self.store.add(result)
                bars.ended(result)

        await together(map(one_after_the_other, lanes))

    def _starter(self, concurrency: int | None, bars: Bars | Live) -> Start:
        room, connecting = asyncio.Semaphore(concurrency or self.at_once), asyncio.Lock()

        async def start(place: Place) -> Result:
            async with room:
                trial = Trial.of(self.path, self.design, place)
                try:
                    async with connecting:
                        models = await asyncio.to_thread(self.models_of, place.model)
                except Exception as error:
                    return trial.failed(error)
                return await trial.run(models, partial(bars.moved, place))

        return start

    async def _on(self, executor: Any, todo: Callable[[], list[Place]], share: bool, bars: Bars | Live) -> None:
        """Run all trials on an executor, or on as many of them as a function makes."""
        makes, broken = not isinstance(executor, Executor) and callable(executor), 0
        asked = set[Place]()
        while places := [place for place in todo() if place not in asked]:
            lanes = dict[Any, list[Place]]()
            for place in places:
                lanes.setdefault((place.task, place.model, place.trial) if share else place, []).append(place)
            pool, before = executor() if makes else executor, len(self.store.results())
            start = partial(self._submit, pool, asked)
            try:
                await self._all(list(lanes.values()), start, bars)
            except BrokenExecutor:
                broken = broken + 1 if len(self.store.results()) == before else 1
                if not makes or broken > _BREAKS:
                    raise StudyError(
                        "a worker was killed, and its pool is broken: what is finished is kept; run again with a new pool, "
                        "or pass a function that makes one"
                    ) from None
            finally:
                if makes:
                    pool.shutdown(wait=False, cancel_futures=True)

    async def _submit(self, pool: Executor, asked: set[Place], place: Place) -> Result:
        task = self.design.tasks[place.task]
        job = Job(self.path, place, self.design.models[place.model], task if task.settings().get("custom") else None)
        try:
            result = await asyncio.wrap_future(pool.submit(run_trial, job))
        except BrokenExecutor:
            raise
        except Exception as error:  # what it was sent with cannot be pickled, or a cluster gave it up
            result = Trial.of(self.path, self.design, place).failed(error)
        asked.add(place)  # one that failed is retried on the next run, not over and over in this one
        return result

    def models_of(self, name: str) -> dict[Role, Model]:
        """The models that play the roles under a name; raises ModelError where one cannot be had."""
        roles = self._models.setdefault(name, dict(self.design.models[name]))
        made: dict[str, Model] = {}
        for role, model in roles.items():
            if isinstance(model, ModelSpec):  # one for all roles that it plays, or each would have as many connections
                key = model.model_dump_json()
                roles[role] = made[key] = made.get(key) or model.connect()
        return roles

    @property
    def at_once(self) -> int:
        """How many trials run at the same time in this process, unless said otherwise."""
        return max(2, min(spec.concurrency for roles in self.design.models.values() for spec in roles.values()) // 2)

    # --- before and during ---------------------------------------------------------------------------------------------

    async def aplan(self, concurrency: int | None = None) -> planning.StudyPlan:
        """What the study will cost: calls, tokens, money and minutes, by arm and in all.

        The calls follow from the methods; each is priced as in the first steps of a few arms, which are really made, once, and kept
        in the study's folder. They need the models.

        Args:
            concurrency: how many trials will run at the same time, in this process or in workers.
        """
        return await background.here(planning.plan(self, concurrency or self.at_once))

    def plan(self, concurrency: int | None = None) -> planning.StudyPlan:
        """What the study will cost; waits for the calls of its dry run. See `aplan`."""
        return background.run(self.aplan(concurrency))

    def progress(self) -> pd.DataFrame:
        """One row a cell: trials, done, failed, begun and not ended, mean seconds of a trial, and seconds left if they ran one by one."""
        found = self.store.results()
        rows = []
        for cell in self.design.cells():
            places = [Place(*cell, n) for n in range(self.design.arms[cell[2]].trials or 0)]
            ended = {place: found[place] for place in places if place in found}
            seconds = [result.seconds for result in ended.values() if result.status == "done"]
            begun = sum((self.path / self.design.folder(place)).exists() for place in places if place not in ended)
            mean = sum(seconds) / len(seconds) if seconds else None
            left = None if mean is None else mean * (len(places) - len(seconds))
            counts = {"trials": len(places), "done": len(seconds), "failed": len(ended) - len(seconds), "begun": begun}
            rows.append({"task": cell[0], "model": cell[1], "arm": cell[2], **counts, "seconds": mean, "left": left})
        return pd.DataFrame(rows)

    # --- afterwards ----------------------------------------------------------------------------------------------------

    trials, scores, points = store.trials, store.scores, store.points
    inspect_logs = inspect_logs
    judged, verdicts, optimism, changes = judging.judged, judging.verdicts, judging.optimism, judging.changes
    probed = judging.probed

    def failures(self) -> pd.DataFrame:
        """The trials that failed and were not run again since, with what went wrong; see `trials`."""
        table = self.trials()
        return table[table["status"] == "failed"][["task", "model", "arm", "trial", "error", "path"]].reset_index(drop=True)

    def figure(self, kind: Figure = "arms") -> "go.Figure":
        """A Plotly figure of the study, to explore; `export` writes the same as SVG or PNG.

        Args:
            kind: "arms", what trials ended with by arm, with the seed prompt as a line; "training", curves over the batches;
                "candidates", their number against accuracy, with Kendall's τ; "p", the corrected p of each comparison.

        Raises:
            StudyError: there is no such figure.
        """
        from gradbook.page import charts

        return charts.explore(self._chart(kind))

    def _chart(self, kind: str) -> "charts.Chart":
        from gradbook.page import study_figures  # pages and pictures take a while to import, which a script need not wait for

        if kind not in study_figures.KINDS:
            raise StudyError(f"there is no figure {kind!r}; there are {', '.join(study_figures.KINDS)}")
        return study_figures.chart(self, kind)

    def export(self, path: str | Path, table: Literal["trials", "scores", "points"] = "trials", figure: Figure = "arms") -> Path:
        """Write the study, a figure or a table, as the ending of the path says, and return the path.

        .html is one page with verdicts, what was registered, figures, trials and a methods paragraph, .ipynb the same as a notebook;
        .svg and .png are the `figure`, drawn without a browser; .csv, .parquet and .jsonl are the `table`.

        Raises:
            StudyError: another ending, no such table or figure, or a table cannot be written.
            ExportError: a page or picture cannot be written.
        """
        from gradbook import export
        from gradbook.page import charts

        match Path(path).suffix.lower():
            case ".html" | ".ipynb":
                return export.export_study(self, path)
            case ".svg" | ".png":
                return export.export_picture(charts.draw(self._chart(figure)), path)
        return store.write(self, Path(path).expanduser().absolute(), table)

    def _repr_html_(self) -> str:
        """The verdicts, or how far the study is before there are any."""
        return displays.html(self)


def _spec(model: Any) -> ModelSpec:
    if isinstance(model, Model):
        return model.spec
    if isinstance(model, ModelSpec):
        return model
    raise StudyError(f"models should be Models or ModelSpecs, as gb.connect() gives them, and not {type(model).__name__}")
