"""The first tables: projects, documents, annotations, votes, runs, models, decisions, the queue."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from store.database.columns import Instant, SpanList

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema."""
    _projects()
    _documents()
    _annotations()
    _append_only()
    _votes_and_set_aside()
    _runs_and_models()
    _decisions()
    _queue()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), autoincrement=False, nullable=nullable)


def _foreign_id(name: str, *, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Instant(), nullable=nullable)


def _spans(*, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column("spans", SpanList(), nullable=nullable)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), nullable=False)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns or ("id",), name=f"pk_{table}")


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _to(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _projects() -> None:
    # projects and models point at each other: SQLite takes the forward reference, others get it after models.
    forward = [_to("projects", "promoted_version", "models.version")] if op.get_bind().dialect.name == "sqlite" else []
    op.create_table(
        "projects",
        _id(),
        _text("name"),
        _text("slug"),
        _text("label_config"),
        _json("labels"),
        _text("salt"),
        _number("holdout_share"),
        _text("ls_url", nullable=True),
        _foreign_id("ls_project_id"),
        _text("promoted_version", nullable=True),
        _instant("pull_watermark", nullable=True),
        _instant("created_at"),
        _key("projects"),
        _unique("projects", "name"),
        _unique("projects", "slug"),
        _unique("projects", "ls_url", "ls_project_id"),
        *forward,
    )


def _documents() -> None:
    op.create_table(
        "documents",
        _id(),
        _integer("project_id"),
        _text("external_id"),
        _foreign_id("ls_task_id"),
        _text("group_key"),
        _text("content_hash"),
        _text("text"),
        _json("meta"),
        _instant("created_at"),
        _instant("ls_updated_at", nullable=True),
        _flag("is_labeled"),
        _instant("deleted_at", nullable=True),
        _key("documents"),
        _unique("documents", "project_id", "external_id"),
        _unique("documents", "project_id", "ls_task_id"),
        _to("documents", "project_id", "projects.id"),
    )
    _index("documents", "project_id", "content_hash")
    _index("documents", "project_id", "group_key")
    op.create_table(
        "splits",
        _integer("document_id"),
        _text("split"),
        _integer("epoch"),
        _text("reason"),
        _instant("assigned_at"),
        _key("splits", "document_id"),
        _to("splits", "document_id", "documents.id"),
    )
    _index("splits", "split")
    _index("splits", "epoch")


def _annotations() -> None:
    op.create_table(
        "annotation_versions",
        _id(),
        _integer("document_id"),
        _text("source"),
        _text("source_id"),
        _integer("sequence"),
        _text("digest"),
        _json("result"),
        _spans(nullable=True),
        _text("creator", nullable=True),
        _number("lead_time", nullable=True),
        _flag("skipped"),
        _flag("ground_truth"),
        _foreign_id("parent_prediction"),
        _text("parent_version", nullable=True),
        _flag("deleted"),
        _instant("source_created_at", nullable=True),
        _instant("source_updated_at", nullable=True),
        _instant("seen_at"),
        _key("annotation_versions"),
        _unique("annotation_versions", "document_id", "source", "source_id", "sequence"),
        _to("annotation_versions", "document_id", "documents.id"),
    )
    _index("annotation_versions", "source_id")


def _append_only() -> None:
    """The history of annotations cannot be rewritten, by this program or by another one on the same database."""
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER annotation_versions_no_{verb.lower()} BEFORE {verb} ON annotation_versions "
                "BEGIN SELECT RAISE(ABORT, 'annotation_versions is append-only'); END"
            )
    elif dialect == "postgresql":
        op.execute(
            "CREATE FUNCTION annotation_versions_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'annotation_versions is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER annotation_versions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON annotation_versions "
            "FOR EACH STATEMENT EXECUTE FUNCTION annotation_versions_append_only()"
        )


def _votes_and_set_aside() -> None:
    op.create_table(
        "set_aside",
        _id(),
        _integer("project_id"),
        _integer("document_id", nullable=True),
        _integer("annotation_version_id", nullable=True),
        _text("source_ref"),
        _text("reason"),
        _json("payload"),
        _text("digest"),
        _instant("seen_at"),
        _key("set_aside"),
        _unique("set_aside", "project_id", "digest"),
        _to("set_aside", "project_id", "projects.id"),
        _to("set_aside", "document_id", "documents.id"),
        _to("set_aside", "annotation_version_id", "annotation_versions.id"),
    )
    _index("set_aside", "document_id")
    op.create_table(
        "weak_votes",
        _integer("document_id"),
        _text("source"),
        _integer("start"),
        _integer("end"),
        _text("label"),
        _text("function_digest"),
        _instant("created_at"),
        _key("weak_votes", "document_id", "source", "start", "end", "label"),
        _to("weak_votes", "document_id", "documents.id"),
    )


def _runs_and_models() -> None:
    op.create_table(
        "runs",
        _id(),
        _integer("project_id"),
        _text("kind"),
        _text("state"),
        _foreign_id("pid", nullable=False),
        _number("process_started"),
        _text("host"),
        _instant("started_at"),
        _instant("heartbeat_at"),
        _instant("finished_at", nullable=True),
        _json("counts"),
        _text("error", nullable=True),
        _key("runs"),
        _to("runs", "project_id", "projects.id"),
    )
    _index("runs", "project_id", "kind", "state")
    op.create_table(
        "models",
        _text("version"),
        _integer("project_id"),
        _integer("number"),
        _integer("run_id"),
        _text("parent", nullable=True),
        _text("state"),
        _text("encoder"),
        _text("path"),
        _text("data_fingerprint"),
        _integer("seed"),
        _json("settings"),
        _json("libraries"),
        _json("files"),
        _json("figures"),
        _text("error", nullable=True),
        _instant("created_at"),
        _instant("finished_at", nullable=True),
        _key("models", "version"),
        _unique("models", "project_id", "number"),
        _to("models", "project_id", "projects.id"),
        _to("models", "run_id", "runs.id"),
        _to("models", "parent", "models.version"),
    )
    if op.get_bind().dialect.name != "sqlite":
        op.create_foreign_key("fk_projects_promoted_version", "projects", "models", ["promoted_version"], ["version"])


def _decisions() -> None:
    op.create_table(
        "training_items",
        _id(),
        _text("model"),
        _integer("document_id"),
        _integer("annotation_version_id", nullable=True),
        _text("role"),
        _text("kind"),
        _key("training_items"),
        _unique("training_items", "model", "document_id", "kind"),
        _to("training_items", "model", "models.version"),
        _to("training_items", "document_id", "documents.id"),
        _to("training_items", "annotation_version_id", "annotation_versions.id"),
    )
    _index("training_items", "document_id")
    op.create_table(
        "scores",
        _id(),
        _text("model"),
        _text("dataset"),
        _text("entity_type"),
        *(_number(name) for name in ("precision", "recall", "f1")),
        *(_integer(name) for name in ("support", "true_positives", "predicted")),
        _text("fingerprint"),
        _instant("evaluated_at"),
        _key("scores"),
        _unique("scores", "model", "dataset", "evaluated_at", "entity_type"),
        _to("scores", "model", "models.version"),
    )
    op.create_table(
        "promotions",
        _id(),
        _integer("project_id"),
        _text("version"),
        _text("previous", nullable=True),
        _text("action"),
        _text("reason"),
        _json("figures"),
        _text("who"),
        _flag("forced"),
        _instant("at"),
        _key("promotions"),
        _to("promotions", "project_id", "projects.id"),
        _to("promotions", "version", "models.version"),
        _to("promotions", "previous", "models.version"),
    )
    _index("promotions", "project_id")


def _queue() -> None:
    op.create_table(
        "predictions",
        _integer("document_id"),
        _text("model"),
        _number("score"),
        _spans(),
        _flag("holdout"),
        _instant("published_at"),
        _key("predictions", "document_id", "model"),
        _to("predictions", "document_id", "documents.id"),
        _to("predictions", "model", "models.version"),
    )
    op.create_table(
        "queue_ranks",
        _integer("document_id"),
        _text("model"),
        _number("confidence"),
        _integer("rank"),
        _key("queue_ranks", "document_id", "model"),
        _to("queue_ranks", "document_id", "documents.id"),
        _to("queue_ranks", "model", "models.version"),
    )
    op.create_table(
        "hints",
        _id(),
        _integer("project_id", nullable=True),
        _foreign_id("ls_project_id", nullable=False),
        _text("action"),
        _instant("received_at"),
        _instant("handled_at", nullable=True),
        _key("hints"),
        _to("hints", "project_id", "projects.id"),
    )
    _index("hints", "ls_project_id")
