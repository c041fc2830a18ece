"""Genomes and species of neat-python as plain data, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import neat
from neat.species import Species
from pydantic import Field

from mkds_gym.utils.arguments import shortened, shown
from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.strategies.base import Count, Plain

NodeGene: Final = neat.genes.DefaultNodeGene
ConnectionGene: Final = neat.genes.DefaultConnectionGene


class _Random(Plain):
    version: Count
    numbers: list[Count]
    gauss: float | None


class _Genome(Plain):
    key: Count
    fitness: float | None
    nodes: list[list[Any]]
    connections: list[list[Any]]


class _Species(Plain):
    key: Count
    created: Count
    last_improved: Count
    fitness: float | None
    adjusted_fitness: float | None
    fitness_history: list[float]
    representative: Count
    members: list[Count]


class State(Plain):
    """What `NeatStrategy.state` returns."""

    strategy: Literal["neat"]
    generation: Count
    solved: bool
    random: _Random
    next_node: Count
    next_genome: Count
    next_species: Count
    innovations: Count
    new_innovations: list[Annotated[list[int | str], Field(min_length=4, max_length=4)]]
    node_genes: list[str]
    connection_genes: list[str]
    genomes: list[_Genome]
    population: Annotated[list[Count], Field(min_length=2)]
    best: Count | None
    parents: list[Annotated[list[Count], Field(min_length=1)]]
    species: list[_Species]


def gene_names(gene: Any) -> list[str]:
    """Return the names of the attributes of a gene, or of a class of genes."""
    return [attribute.name for attribute in gene._gene_attributes]


def gene_values(gene: Any) -> list[Any]:
    """Return the values of these attributes."""
    return [getattr(gene, attribute.name) for attribute in gene._gene_attributes]


def _set_gene(gene: Any, values: Sequence[Any]) -> None:
    """Set the attributes of a gene; ValueError if one has another type than neat-python's."""
    attributes = gene._gene_attributes
    if len(values) != len(attributes):
        raise ValueError(f"gene {gene.key} has {len(values)} values: expected {len(attributes)}")
    for attribute, value in zip(attributes, values, strict=True):
        kind = _GENE_TYPES[type(attribute).__name__]
        if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(
                f"gene {gene.key} has {attribute.name} = {shown(value)}: expected a {kind.__name__}"
            )
        setattr(gene, attribute.name, value)


_GENE_TYPES: Final[Mapping[str, type]] = {
    "FloatAttribute": float,
    "IntegerAttribute": int,
    "BoolAttribute": bool,
    "StringAttribute": str,
}


def _ids(values: Sequence[Any], name: str) -> list[int]:
    """Check the integers at the start of a gene."""
    for value in values:
        if type(value) is not int or abs(value) >= 1 << 53:
            raise ValueError(f"{name} has {shown(value)}: expected an integer")
    return list(values)


def _unique(keys: Sequence[int], name: str) -> None:
    if len(set(keys)) < len(keys):
        raise ValueError(f"{name} has an entry twice")


def read_genomes(data: State, config: Any) -> dict[int, Any]:
    """Return the genomes of a state by key; ValueError if a part is inconsistent."""
    for kind, names in ((NodeGene, data.node_genes), (ConnectionGene, data.connection_genes)):
        if names != gene_names(kind):
            raise ValueError(
                f"the genes have the attributes {shortened(', '.join(names))}, but those of "
                "this version of "
                f"neat-python have {', '.join(gene_names(kind))}"
            )
    genomes: dict[int, Any] = {}
    for item in data.genomes:
        genome = neat.DefaultGenome(item.key)
        genome.fitness = item.fitness
        for key, *values in item.nodes:
            node = NodeGene(*_ids([key], "a node"))
            _set_gene(node, values)
            genome.nodes[key] = node
        for source, target, innovation, *values in item.connections:
            _ids([source, target, innovation], "a connection")
            gene = ConnectionGene((source, target), innovation=innovation)
            _set_gene(gene, values)
            genome.connections[source, target] = gene
        if len(genome.nodes) < len(item.nodes) or len(genome.connections) < len(item.connections):
            raise ValueError(f"genome {item.key} has a gene twice")
        _check_genome(genome, config, data)
        genomes[item.key] = genome
    _unique([item.key for item in data.genomes], "genomes")
    _unique(data.population, "population")
    if missing := set(data.population) - set(genomes):
        raise ValueError(f"genome {min(missing)} of the population is missing")
    if data.best is not None and data.best not in genomes:
        raise ValueError(f"the best genome {data.best} is missing")
    if data.next_genome <= max(genomes):
        raise ValueError(f"next_genome {data.next_genome} is in use")
    return genomes


def _check_genome(genome: Any, config: Any, data: State) -> None:
    nodes, sources = set(genome.nodes), set(genome.nodes) | set(config.input_keys)
    if not set(config.output_keys) <= nodes or min(nodes) < 0:
        raise ValueError(f"genome {genome.key} does not have the outputs {config.output_keys}")
    if data.next_node <= max(nodes):
        raise ValueError(f"next_node {data.next_node} is in use")
    for (source, target), gene in genome.connections.items():
        if source not in sources or target not in nodes:
            raise ValueError(
                f"genome {genome.key} has a connection from {source} to {target}: expected nodes "
                f"of the genome, with {len(config.input_keys)} inputs"
            )
        if not 0 < gene.innovation <= data.innovations:
            raise ValueError(f"genome {genome.key} has the innovation {gene.innovation}")
    network = network_of(genome, config)
    if config.feed_forward and network.levels() is None:
        raise ValueError(f"genome {genome.key} has a cycle")


def read_species(data: State, genomes: Mapping[int, Any]) -> dict[int, Any]:
    """Return the species of a state by key; ValueError if they are not those of its population."""
    found: dict[int, Any] = {}
    members = [key for item in data.species for key in item.members]
    _unique([item.key for item in data.species], "species")
    _unique(members, "the species")
    if set(members) != set(data.population):
        raise ValueError("the members of the species are not the population")
    for item in data.species:
        if item.representative not in item.members:
            raise ValueError(f"the representative of species {item.key} is not a member")
        if item.key >= data.next_species:
            raise ValueError(f"next_species {data.next_species} is in use")
        if max(item.created, item.last_improved) > data.generation:
            raise ValueError(f"species {item.key} is of a later generation")
        species = Species(item.key, item.created)
        species.last_improved = item.last_improved
        species.fitness, species.adjusted_fitness = item.fitness, item.adjusted_fitness
        species.fitness_history = list(item.fitness_history)
        species.update(genomes[item.representative], {key: genomes[key] for key in item.members})
        found[item.key] = species
    return found


def network_of(genome: Any, config: Any) -> NetworkSpec:
    """Return the network of a neat-python genome: all nodes, and the enabled connections.

    Args:
        genome: A ``neat.DefaultGenome``.
        config: Its ``genome_config``.
    """
    return NetworkSpec(
        inputs=tuple(config.input_keys),
        outputs=tuple(config.output_keys),
        nodes=tuple(
            Node(key, g.bias, g.response, g.activation, g.aggregation)
            for key, g in sorted(genome.nodes.items())
        ),
        connections=tuple(
            (*key, g.weight) for key, g in sorted(genome.connections.items()) if g.enabled
        ),
        recurrent=not config.feed_forward,
    )


def genome_to_json(genome: Any, config: Any) -> dict[str, Any]:
    """Return a neat-python genome as JSON-ready values, which `genome_from_json` reads back."""
    return {
        "key": genome.key,
        "inputs": config.num_inputs,
        "outputs": config.num_outputs,
        "nodes": [
            {"key": key, **{a.name: getattr(g, a.name) for a in g._gene_attributes}}
            for key, g in sorted(genome.nodes.items())
        ],
        "connections": [
            {
                "from": key[0],
                "to": key[1],
                "innovation": g.innovation,
                **{a.name: getattr(g, a.name) for a in g._gene_attributes},
            }
            for key, g in sorted(genome.connections.items())
        ],
    }


def genome_from_json(data: Any) -> Any:
    """Return the ``neat.DefaultGenome`` that `genome_to_json` wrote.

    Raises:
        ChampionFormatError: The data are malformed.
    """
    try:
        genome = neat.DefaultGenome(int(data["key"]))
        for item in data["nodes"]:
            node = neat.genes.DefaultNodeGene(int(item["key"]))
            for attribute in node._gene_attributes:
                setattr(node, attribute.name, item[attribute.name])
            genome.nodes[node.key] = node
        for item in data["connections"]:
            key = (int(item["from"]), int(item["to"]))
            connection = neat.genes.DefaultConnectionGene(key, innovation=int(item["innovation"]))
            for attribute in connection._gene_attributes:
                setattr(connection, attribute.name, item[attribute.name])
            genome.connections[key] = connection
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise ChampionFormatError(f"expected a genome of neat: {shortened(repr(error))}") from error
    return genome
