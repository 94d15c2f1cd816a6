"""The base class of tasks in Django projects."""
