"""The tests' own Slurm cluster: what the tests of the engine rely on."""

from __future__ import annotations

import pytest

from tests.slurm.cluster import CHECKOUT, NODES, SlurmCluster

pytestmark = pytest.mark.engine


def test_the_nodes_take_jobs(slurm: SlurmCluster) -> None:
    assert sorted(slurm("srun -N3 hostname").split()) == list(NODES)


def test_home_is_one_folder_and_its_users_alone(slurm: SlurmCluster) -> None:
    slurm("echo word >~/here")
    assert slurm("cat ~/here", node="node2") == "word\n"
    for node in ("login", "node2"):
        denied = slurm.run("cat /home/user1/here", "user2", node)
        assert (denied.returncode, denied.stdout) == (1, "")
    slurm("rm ~/here")


def test_a_folder_of_this_machine_is_seen_under_its_path(slurm: SlurmCluster) -> None:
    (slurm.shared / "here").write_text("word")
    assert slurm(f"srun cat {slurm.shared}/here && rm -r {slurm.shared}/here; touch {slurm.shared}/there") == "word"
    assert (slurm.shared / "there").exists()


def test_a_copy_of_this_checkout_works_there(slurm: SlurmCluster) -> None:
    assert slurm.checkout == CHECKOUT
    assert "worker.deploy" in slurm(f"cd {CHECKOUT} && ./inv --list")
    assert slurm("find ~/cluster ! -user user1") == ""


def test_a_node_that_was_killed_takes_jobs_again(slurm: SlurmCluster) -> None:
    slurm.kill_node("node3")
    assert slurm.run("true", node="node3").returncode == 255
    slurm.start_node("node3")
    assert slurm("srun -w node3 hostname") == "node3\n"


def test_jobs_outlive_the_controller(slurm: SlurmCluster) -> None:
    job = slurm("sbatch --parsable --wrap 'sleep 1000'").strip()
    slurm.restart_controller()
    assert slurm(f"squeue -h -j {job} -o %i").strip() == job
    slurm(f"scancel {job}")
