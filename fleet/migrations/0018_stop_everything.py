from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0017_all_fail"),
    ]

    operations = [
        migrations.AddField(
            model_name="historicallimits",
            name="mode_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="historicallimits",
            name="mode_before",
            field=models.CharField(
                blank=True,
                choices=[("running", "running"), ("paused", "paused"), ("stop_all", "stop all")],
                db_default="",
                default="",
                editable=False,
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="historicallimits",
            name="mode_by",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=150
            ),
        ),
        migrations.AddField(
            model_name="limits",
            name="mode_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="limits",
            name="mode_before",
            field=models.CharField(
                blank=True,
                choices=[("running", "running"), ("paused", "paused"), ("stop_all", "stop all")],
                db_default="",
                default="",
                editable=False,
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="limits",
            name="mode_by",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=150
            ),
        ),
        migrations.AlterField(
            model_name="alert",
            name="cause",
            field=models.CharField(
                choices=[
                    ("pod_old", "pod old"),
                    ("budget_50", "budget 50"),
                    ("budget_80", "budget 80"),
                    ("budget_100", "budget 100"),
                    ("ceiling", "ceiling"),
                    ("circuit_open", "circuit open"),
                    ("credentials", "credentials"),
                    ("orphan", "orphan"),
                    ("destroy_fails", "destroy fails"),
                    ("boots_fail", "boots fail"),
                    ("no_pods", "no pods"),
                    ("backlog_unknown", "backlog unknown"),
                    ("backlog_grows", "backlog grows"),
                    ("dead_letters", "dead letters"),
                    ("not_drained", "not drained"),
                    ("all_fail", "all fail"),
                    ("no_tick", "no tick"),
                    ("balance_low", "balance low"),
                    ("redis_evicts", "redis evicts"),
                    ("stopped", "stopped"),
                ],
                max_length=30,
            ),
        ),
    ]
