"""Write the messages and the page of the documentation anew."""

from tests.messages.runs import write

write()
