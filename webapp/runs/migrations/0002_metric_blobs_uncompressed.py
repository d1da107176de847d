"""PostgreSQL: do not compress packed metrics. They hardly shrink, and it halves the ingestion."""

from django.db import migrations

COLUMNS = ("steps", "values", "buckets")


def _storage(kind):
    def apply(apps, schema_editor):
        if schema_editor.connection.vendor != "postgresql":
            return
        table = schema_editor.quote_name(apps.get_model("runs", "MetricChunk")._meta.db_table)
        for column in COLUMNS:
            name = schema_editor.quote_name(column)
            schema_editor.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET STORAGE {kind}")

    return apply


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial")]

    operations = [migrations.RunPython(_storage("EXTERNAL"), _storage("EXTENDED"))]
