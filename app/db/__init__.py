"""Tables and one repository per noun: translates rows to domain objects, decides nothing, never commits."""
