"""The order of components, and the errors of requirements that can't be met."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from taskq_cloud import Component, TaskQ
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.components import in_order, name_of


def component(name: str, *requires: str) -> Component:
    made = Component()
    made.name, made.requires = name, requires
    return made


def names(*components: Component) -> list[str]:
    return [name_of(each) for each in in_order(components)]


def test_component_comes_after_those_it_requires() -> None:
    assert names(component("a", "b", "c"), component("b", "c"), component("c"), component("d")) == ["c", "d", "b", "a"]


def test_components_without_requirements_keep_their_order() -> None:
    assert names(component("z"), component("a"), component("m")) == ["z", "a", "m"]


def test_component_is_named_by_its_class_and_required_by_it() -> None:
    class Database(Component):
        pass

    class Cache(Component):
        name = "cache"
        requires = (Database,)

    class Search(Component):
        requires = (Cache, "Database")

    assert names(Search(), Cache(), Database()) == ["Database", "cache", "Search"]
    assert repr(Cache()) == "<component cache>"


@pytest.mark.parametrize(
    ("components", "text"),
    [
        ([component("a", "b")], "component 'a' requires 'b', which is not among .* \\('a'\\)"),
        ([component("a"), component("a")], "two components are named 'a'"),
        ([component("a", "a")], "in a circle: 'a' -> 'a'"),
    ],
)
def test_requirements_that_can_t_be_met_are_named(components: list[Component], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text):
        in_order(components)


def test_each_component_of_a_circle_is_named_before_the_one_it_requires() -> None:
    components = [component("a", "b"), component("b", "c"), component("c", "a"), component("d")]
    with pytest.raises(ImproperlyConfigured, match="in a circle") as raised:
        in_order(components)
    circle = str(raised.value).partition(": ")[2].split(" -> ")
    assert circle[0] == circle[-1]
    assert len(circle) == 4
    graph = {repr(each.name): [repr(required) for required in each.requires] for each in components}
    assert all(second in graph[first] for first, second in pairwise(circle))


@pytest.mark.parametrize("given", [Component, "name", object()])
def test_object_that_is_no_component_is_an_error(given: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="an object of a subclass of Component"):
        TaskQ("tests", components=[given])


def test_components_are_added_by_argument_and_by_method() -> None:
    first, second = component("first"), component("second")
    app = TaskQ("tests", components=[first])
    app.add_component(second)
    assert app.components == [first, second]
