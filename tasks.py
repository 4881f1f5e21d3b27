"""The index of the command line: binds the namespaces, nothing else."""

from commands import agents, completion, failed, machine, program, publish, queue, registry, results, worker
from commands import map as runs
from commands.task import Collection
from scripts import streams

namespace = Collection(machine.demo, machine.status, machine.down, machine.run_tests, publish.publish, publish.wait)
for module in (runs, failed, results, queue, worker, registry, agents):
    namespace.add_collection(Collection.from_module(module))
namespace.add_task(completion.of(namespace))

if __name__ == "__main__":  # what ./inv runs
    streams.run(program.Inv().main)
